#error "cub/cub.cuh is not modeled on the CPU: write the block or warp operation with shared memory and shuffles, or run this kernel on a GPU."
