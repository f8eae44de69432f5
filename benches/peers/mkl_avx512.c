/* MKL, which PyTorch's f32 products run on, takes its AVX2 path on processors that are not Intel's. Preloaded, this makes it
 * take the AVX-512 one:  gcc -shared -fPIC -O2 -o mkl_avx512.so mkl_avx512.c */
int mkl_serv_intel_cpu_true(void) { return 1; }
