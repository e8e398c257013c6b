#pragma once
// driver_types.h: what a kernel needs of it is in cuda_on_cpu.h already.
