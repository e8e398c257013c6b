// A kernel file may include cuda_runtime.h: everything that it needs is in cuda_on_cpu.h already.
#pragma once
