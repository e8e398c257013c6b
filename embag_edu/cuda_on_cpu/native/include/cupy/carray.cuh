// What CuPy's elementwise kernels are written in: CArray, an array with its shape; CIndexer; CUPY_FOR.
// Here every array is in C order: one that is not was copied before the launch, and is copied back.
#pragma once
#pragma GCC system_header
#ifndef M_PI
#define M_PI 3.14159265358979323846  // as by CuPy; NVRTC by itself has none
#endif
class float16;
#define CUPY_FOR(i, n) \
  for (ptrdiff_t i = (ptrdiff_t)blockIdx.x * blockDim.x + threadIdx.x; i < (n); i += (ptrdiff_t)blockDim.x * gridDim.x)

template <class T, int dims, bool c_order = true, bool narrow = true> class CArray {
  T* data_;
  ptrdiff_t size_ = 1, shape_[dims], strides_[dims];  // strides in bytes, as NumPy's

 public:
  static const int ndim = dims;
  static const bool c_contiguous = c_order;
  template <class I> CUDA_ON_CPU_UNSEEN CArray(T* data, const I* shape) : data_(data) {
    for (int d = dims - 1; d >= 0; d--) strides_[d] = size_ * sizeof(T), size_ *= shape_[d] = shape[d];
  }
  CUDA_ON_CPU_HERE ptrdiff_t size() const { return size_; }
  CUDA_ON_CPU_HERE const ptrdiff_t* shape() const { return shape_; }
  CUDA_ON_CPU_HERE const ptrdiff_t* strides() const { return strides_; }
  CUDA_ON_CPU_HERE T& operator[](ptrdiff_t i) { return data_[i]; }
  CUDA_ON_CPU_HERE const T& operator[](ptrdiff_t i) const { return data_[i]; }
  template <class I> CUDA_ON_CPU_HERE T& operator[](const I (&i)[dims]) { return data_[at(i)]; }
  template <class I> CUDA_ON_CPU_HERE const T& operator[](const I (&i)[dims]) const { return data_[at(i)]; }

 private:
  template <class I> CUDA_ON_CPU_UNSEEN ptrdiff_t at(const I (&i)[dims]) const {
    ptrdiff_t sum = 0;
    for (int d = 0; d < dims; d++) sum = sum * shape_[d] + i[d];
    return sum;
  }
};

template <int dims> class CIndexer {  // where a loop over all elements is
  ptrdiff_t size_ = 1, shape_[dims], index_[dims];

 public:
  static const int ndim = dims;
  template <class I> CUDA_ON_CPU_UNSEEN explicit CIndexer(const I* shape) {
    for (int d = 0; d < dims; d++) size_ *= shape_[d] = shape[d];
  }
  CUDA_ON_CPU_HERE ptrdiff_t size() const { return size_; }
  CUDA_ON_CPU_UNSEEN void set(ptrdiff_t i) {
    for (int d = dims - 1; d >= 0; i /= shape_[d--]) index_[d] = i % shape_[d];
  }
  typedef const ptrdiff_t Index[dims];
  CUDA_ON_CPU_HERE Index& get() const { return index_; }
};
