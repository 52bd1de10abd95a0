# ccache is used where it is installed and nobody chose another launcher.
if(PROJECT_IS_TOP_LEVEL AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  find_program(BARREL_P2P_CCACHE ccache)
  mark_as_advanced(BARREL_P2P_CCACHE)
  if(BARREL_P2P_CCACHE)
    set(CMAKE_CXX_COMPILER_LAUNCHER ${BARREL_P2P_CCACHE})
  endif()
endif()
