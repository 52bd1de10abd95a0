# The page: its model (vitest), its types (tsc), and the page in headless Chromium. A test whose tools are missing is skipped
# and says which ones.
function(add_page_test name)
  if(dashboard_missing)
    add_test(NAME ${name} COMMAND ${CMAKE_COMMAND} -E echo "skipped: ${dashboard_missing}")
  else()
    add_test(NAME ${name} COMMAND ${ARGN} WORKING_DIRECTORY ${dashboard_build})
  endif()
  set_tests_properties(${name} PROPERTIES SKIP_REGULAR_EXPRESSION "(^|\n)skipped: " TIMEOUT ${BARREL_P2P_TEST_TIMEOUT})
endfunction()

set(modules ${dashboard_build}/node_modules)
add_page_test(dashboard_model ${BARREL_P2P_NODEJS} ${modules}/vitest/vitest.mjs run)
add_page_test(dashboard_types ${BARREL_P2P_NODEJS} ${modules}/typescript/bin/tsc --noEmit)
set(arguments --page ${dashboard_build}/dist --scratch ${PROJECT_BINARY_DIR}/dashboard_browser)
if(TARGET barrel_p2p_command AND TARGET barrel_p2p_admin)
  list(APPEND arguments --command $<TARGET_FILE:barrel_p2p_command>)
endif()
add_page_test(dashboard_browser Python3::Interpreter ${CMAKE_CURRENT_SOURCE_DIR}/dashboard/browser_test.py ${arguments})
# Two browsers at once would only measure each other.
set_tests_properties(dashboard_browser PROPERTIES PROCESSORS 2 TIMEOUT 900)
