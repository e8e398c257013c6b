// __pipeline_memcpy_async, __pipeline_commit, __pipeline_wait_prior: all in cuda_on_cpu.h already.
#pragma once
