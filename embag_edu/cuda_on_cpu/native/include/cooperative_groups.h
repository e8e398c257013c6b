#error "cooperative_groups.h is not modeled on the CPU: use __syncthreads(), __syncwarp(mask) and the __shfl_*_sync functions instead."
