#error "curand_kernel.h is not modeled on the CPU: make the random numbers with NumPy and pass them to the kernel as an array."
