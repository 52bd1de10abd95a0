# Warnings are errors in everything that is ours.
add_library(barrel_p2p_warnings INTERFACE)
target_compile_options(barrel_p2p_warnings INTERFACE -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Werror)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 15)
  # False positives of g++ 12 and 14 in optimised std::string and std::vector code (GCC bugs 105651, 105329).
  target_compile_options(barrel_p2p_warnings INTERFACE -Wno-restrict -Wno-array-bounds -Wno-stringop-overflow
    -Wno-stringop-overread)
endif()
if(CMAKE_UNITY_BUILD)
  # Files that are compiled as one share an unnamed namespace. The other builds warn.
  target_compile_options(barrel_p2p_warnings INTERFACE -Wno-shadow)
endif()
if(CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
  # libstdc++ 12 itself uses what it deprecates (std::get_temporary_buffer in stable_sort); only g++ hides that.
  target_compile_options(barrel_p2p_warnings INTERFACE -Wno-deprecated-declarations)
endif()
