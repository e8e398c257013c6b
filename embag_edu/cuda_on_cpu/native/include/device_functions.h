#pragma once
// device_functions.h: what a kernel needs of it is in cuda_on_cpu.h already.
