# Warnings are errors in everything that is ours.
add_library(barrel_p2p_warnings INTERFACE)
target_compile_options(barrel_p2p_warnings INTERFACE -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Werror)
