# Tests of the tree itself: rooms, public headers, exported symbols, installation, documents.
find_package(Python3 REQUIRED COMPONENTS Interpreter)
set(tools ${PROJECT_SOURCE_DIR}/tools)

add_test(NAME room_check COMMAND Python3::Interpreter ${tools}/check_rooms.py rooms)
add_test(NAME room_check_finds_violations COMMAND Python3::Interpreter ${tools}/check_rooms.py self-test --compiler ${CMAKE_CXX_COMPILER})
add_test(NAME public_headers COMMAND Python3::Interpreter ${tools}/check_rooms.py headers --compiler ${CMAKE_CXX_COMPILER})
add_test(NAME docs_check COMMAND Python3::Interpreter ${tools}/check_docs.py --path ${PROJECT_BINARY_DIR}/bin)
add_test(NAME docs_check_finds_violations COMMAND Python3::Interpreter ${tools}/check_docs.py --self-test)

if(TARGET barrel_p2p_command)
  add_test(NAME cluster_of_three COMMAND Python3::Interpreter ${CMAKE_CURRENT_SOURCE_DIR}/docs/cluster_test.py ${PROJECT_BINARY_DIR})
  set_tests_properties(cluster_of_three PROPERTIES TIMEOUT 120)
endif()

if(BARREL_P2P_SHARED)
  add_test(NAME exported_symbols COMMAND Python3::Interpreter ${tools}/check_symbols.py ${CMAKE_NM} $<TARGET_FILE:barrel_p2p>
           $<TARGET_SONAME_FILE_NAME:barrel_p2p>)
endif()

# As a part of a user's project. What it would build is built here already: it is enough that the targets are there.
add_test(NAME consumer_subproject
  COMMAND ${CMAKE_COMMAND} -S ${CMAKE_CURRENT_SOURCE_DIR}/consumer/subproject -B ${PROJECT_BINARY_DIR}/consumer/subproject
    -G ${CMAKE_GENERATOR} -DCMAKE_CXX_COMPILER=${CMAKE_CXX_COMPILER} -DFETCHCONTENT_SOURCE_DIR_BARREL_P2P=${PROJECT_SOURCE_DIR})

if(BARREL_P2P_INSTALL)
  set(prefix ${PROJECT_BINARY_DIR}/consumer/prefix)
  set(consumer ${CMAKE_CURRENT_SOURCE_DIR}/consumer)
  add_test(NAME install_tree COMMAND ${CMAKE_COMMAND} --install ${PROJECT_BINARY_DIR} --prefix ${prefix})
  set_tests_properties(install_tree PROPERTIES FIXTURES_SETUP installed)
  add_test(NAME consumer_find_package
    COMMAND ${CMAKE_CTEST_COMMAND} --build-and-test ${consumer} ${PROJECT_BINARY_DIR}/consumer/find_package
      --build-generator ${CMAKE_GENERATOR} --build-options -DCMAKE_PREFIX_PATH=${prefix} -DCMAKE_CXX_COMPILER=${CMAKE_CXX_COMPILER}
      --test-command ${CMAKE_CTEST_COMMAND} --output-on-failure --no-tests=error)
  if(NOT BARREL_P2P_SHARED)
    add_test(NAME consumer_find_package_static
      COMMAND ${CMAKE_CTEST_COMMAND} --build-and-test ${consumer} ${PROJECT_BINARY_DIR}/consumer/find_package_static
        --build-generator ${CMAKE_GENERATOR}
        --build-options -DCMAKE_PREFIX_PATH=${prefix} -DCMAKE_CXX_COMPILER=${CMAKE_CXX_COMPILER} -DCONSUMER_STATIC=ON
        --test-command ${CMAKE_CTEST_COMMAND} --output-on-failure --no-tests=error)
    set_tests_properties(consumer_find_package_static PROPERTIES FIXTURES_REQUIRED installed TIMEOUT 300)
  endif()
  add_test(NAME consumer_pkg_config
    COMMAND ${consumer}/build_with_pkg_config ${CMAKE_CXX_COMPILER} ${prefix} ${CMAKE_INSTALL_LIBDIR} ${PROJECT_BINARY_DIR}/consumer/pkg_config)
  add_test(NAME installed_command COMMAND ${prefix}/${CMAKE_INSTALL_BINDIR}/barrel_p2p --version)
  set_tests_properties(installed_command PROPERTIES PASS_REGULAR_EXPRESSION "^barrel_p2p ${PROJECT_VERSION}")
  set_tests_properties(consumer_find_package consumer_pkg_config installed_command PROPERTIES FIXTURES_REQUIRED installed TIMEOUT 300)

  # The projects of the tutorials, as their readers build them; then what the tutorials tell is done with them.
  foreach(tutorial hello_cluster orders)
    set(built ${PROJECT_BINARY_DIR}/consumer/${tutorial})
    add_test(NAME tutorial_${tutorial}
      COMMAND ${CMAKE_CTEST_COMMAND} --build-and-test ${PROJECT_SOURCE_DIR}/docs/tutorials/${tutorial} ${built}
        --build-generator ${CMAKE_GENERATOR} --build-options -DCMAKE_PREFIX_PATH=${prefix} -DCMAKE_CXX_COMPILER=${CMAKE_CXX_COMPILER}
        --test-command ${Python3_EXECUTABLE} ${CMAKE_CURRENT_SOURCE_DIR}/docs/tutorial_test.py ${tutorial} ${built})
    set_tests_properties(tutorial_${tutorial} PROPERTIES FIXTURES_REQUIRED installed TIMEOUT 300)
  endforeach()
endif()
