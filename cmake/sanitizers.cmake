# Sanitizers apply to the whole build: an object without instrumentation hides what it does.
# -g1 is enough for stacks with lines and halves the size of what has to be linked.
set(sanitizers "")
if(BARREL_P2P_SANITIZE STREQUAL "address")
  set(sanitizers address,undefined)
elseif(BARREL_P2P_SANITIZE STREQUAL "thread")
  set(sanitizers thread)
elseif(NOT BARREL_P2P_SANITIZE STREQUAL "")
  message(FATAL_ERROR "BARREL_P2P_SANITIZE is '${BARREL_P2P_SANITIZE}'; use 'address', 'thread' or nothing")
endif()

if(sanitizers)
  add_compile_options(-fsanitize=${sanitizers} -fno-sanitize-recover=all -fno-omit-frame-pointer -g1)
  add_compile_definitions(_GLIBCXX_ASSERTIONS)
  add_link_options(-fsanitize=${sanitizers})
endif()

if(BARREL_P2P_FUZZ)
  if(NOT CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
    message(FATAL_ERROR "BARREL_P2P_FUZZ needs clang (libFuzzer); use the preset 'fuzz' or 'asan'")
  endif()
  add_compile_options(-fsanitize=fuzzer-no-link)
  if(NOT sanitizers)
    add_link_options(-fsanitize=undefined)  # only its runtime: it has what the option above calls in programs without libFuzzer
  endif()
endif()
