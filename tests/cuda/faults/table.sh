# The ten planted faults of tests/cuda/test_faults.sh, each of which a test must notice.
#   fault NAME FILE TEST CASES OLD NEW [OLD NEW]...
# FILE is one of kernels/cuda; a header is planted together with the one file HEADER:FILE that is compiled over it. TEST
# is a program of tests/cuda, CASES a pattern of its tests. Each OLD must stand in FILE exactly once; a second pair
# narrows what is compiled.
# shellcheck shell=bash disable=SC2016

fault 'a barrier removed: a thread adds what the others may not have written yet' \
    classify.cu test_classify many_rows \
    $'terms[threadIdx.x] = term;\n        __syncthreads();' 'terms[threadIdx.x] = term;'

fault 'an index off by one: the mean of a sequence takes the next one'"'"'s first row' \
    rows.cu test_rows agrees_with_fp64 \
    'x[j] = row + j < end ?' 'x[j] = row + j <= end ?'

fault 'a wrong lane: the ranges before are counted up to the last but one' \
    adam.cu test_adam many_ranges \
    'before += __shfl_sync(RT_FULL, sum, 31);' 'before += __shfl_sync(RT_FULL, sum, 30);'

fault 'a missing wait: keys are read while their copy is under way' \
    attention_forward.cu test_attention gpu_agrees_with_fp64 \
    'rt_copy_wait<STAGES - 1>();' '' \
    $'if (head_dim == 32) return launch_for<32>(l, p, longest);\n    return head_dim == 64 ? launch_for<64>(l, p, longest) : launch_for<128>(l, p, longest);' \
    'return head_dim == 64 ? launch_for<64>(l, p, longest) : RT_EINTERNAL;'

fault 'mask groups swapped: four channels are dropped with their neighbours'"'"' words' \
    common.cuh:rows.cu test_dropout hidden_masks_equal_the_reference \
    '((uint32_t)(channel / 4) + (uint32_t)half)' '((uint32_t)(channel / 4) + (uint32_t)(1 - half))'

fault 'rows beyond the tokens are not written' \
    rows.cu test_rows agrees_with_fp64 \
    $'const int64_t row = 4 * (int64_t)blockIdx.x + threadIdx.x / 32;\n    if (row >= a.rows) return;' \
    $'const int64_t row = 4 * (int64_t)blockIdx.x + threadIdx.x / 32;\n    if (row >= rt_token_count(a.places)) return;'

fault 'partials added twice' \
    columns.cu test_columns backward_agrees_with_fp64 \
    'b < a.blocks && c < a.n; b += 8)' 'b < a.blocks && c < a.n; b += 4)'

fault 'an event missing: an op does not wait for its upload' \
    memory.c test_backend batches_arrive_in_every_order \
    'RT_CUDA(cudaStreamWaitEvent(cuda->launch.stream, cuda->uploaded[slot], 0));' ''

fault 'a stale loss: it is read without waiting for the mark behind it' \
    memory.c test_backend marks_wait_for_what_is_before \
    'return wait_for(cuda, NULL, cuda->marks[mark], "waiting for a step on the GPU");' 'return RT_OK;'

fault 'a missing beta: chunks of rows overwrite the weight gradient of those before' \
    linear_products.c test_linear chunks_of_rows_give_the_same \
    'dz, r, rows, a->accumulate || r > 0)' 'dz, r, rows, a->accumulate)'
