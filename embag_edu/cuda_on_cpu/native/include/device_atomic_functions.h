#pragma once
// device_atomic_functions.h: what it declares is in cuda_on_cpu.h already.
