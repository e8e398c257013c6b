#pragma once
// cuda_device_runtime_api.h: what a kernel needs of it is in cuda_on_cpu.h already.
