# Four files are compiled as one, which takes half the time; what compiles everything that way takes more at once.
# For what nobody includes: tests, the command, the simulator. The library is compiled file by file, so that each file
# includes what it needs.
macro(compile_four_files_as_one)
  if(NOT DEFINED CMAKE_UNITY_BUILD)
    set(CMAKE_UNITY_BUILD ON)
    set(CMAKE_UNITY_BUILD_BATCH_SIZE 4)
  endif()
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    # g++ takes what one of the four keeps to itself for something of a header.
    add_compile_options($<$<COMPILE_LANGUAGE:CXX>:-Wno-subobject-linkage>)
  endif()
endmacro()
