#error "mma.h (tensor cores) is not modeled on the CPU: write the product as a loop of multiply-adds, or run this kernel on a GPU."
