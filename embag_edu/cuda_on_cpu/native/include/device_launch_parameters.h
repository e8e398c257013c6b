#pragma once
// device_launch_parameters.h: what it declares is in cuda_on_cpu.h already.
