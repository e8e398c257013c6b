#pragma once
// device_types.h: what it declares is in cuda_on_cpu.h already.
