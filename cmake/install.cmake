# `cmake --install`: headers, library, CMake package, pkg-config file. The command is installed by apps/.
include(CMakePackageConfigHelpers)
set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/barrel_p2p)

install(DIRECTORY include/barrel_p2p DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} FILES_MATCHING PATTERN "*.hpp")
install(TARGETS barrel_p2p EXPORT barrel_p2p_targets
  LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(EXPORT barrel_p2p_targets NAMESPACE barrel_p2p:: DESTINATION ${package_dir})

configure_package_config_file(cmake/barrel_p2p-config.cmake.in barrel_p2p-config.cmake INSTALL_DESTINATION ${package_dir})
write_basic_package_version_file(barrel_p2p-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/barrel_p2p-config.cmake ${PROJECT_BINARY_DIR}/barrel_p2p-config-version.cmake
  DESTINATION ${package_dir})

# A static library needs the libraries below it at the user's link; a shared one brings them itself.
if(BARREL_P2P_SHARED)
  set(pc_requires "")
  set(pc_cflags "")
else()
  set(pc_requires "gnutls libngtcp2 libngtcp2_crypto_gnutls libxxhash spdlog sqlite3 zlib")
  set(pc_cflags "-DBARREL_P2P_STATIC")
endif()
configure_file(cmake/barrel_p2p.pc.in barrel_p2p.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/barrel_p2p.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
install(FILES LICENSE README.md CHANGELOG.md DESTINATION ${CMAKE_INSTALL_DOCDIR})
