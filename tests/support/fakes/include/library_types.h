/* The names of CUDA's library_types.h that we use, with its values; for building where there is no toolkit. */
#ifndef RT_FAKE_LIBRARY_TYPES_H
#define RT_FAKE_LIBRARY_TYPES_H

typedef enum cudaDataType_t {
    CUDA_R_32F = 0,
    CUDA_R_16BF = 14,
} cudaDataType;

#endif
