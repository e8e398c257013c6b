#pragma once
// cuda_runtime_api.h: what it declares is in cuda_on_cpu.h already.
