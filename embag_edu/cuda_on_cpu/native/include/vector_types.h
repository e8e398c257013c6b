#pragma once
// vector_types.h: what it declares is in cuda_on_cpu.h already.
