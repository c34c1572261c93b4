# Installs the runtime as a CMake package (find_package(vitrine) gives vitrine::vitrine) and, when it was built, the
# inspection core with its hosts:
#   include/vitrine/*.h   lib/libvitrine.a   lib/cmake/vitrine/   lib/libvitrine_inspect.so   bin/vitrine-inspect
#   share/vitrine/{python,gdb,lldb}/   the scripts; they find the library relative to where they stand
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

set(vitrine_package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/vitrine)
install(TARGETS vitrine EXPORT vitrineTargets
  ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR}
  LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}
  INCLUDES DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(DIRECTORY ${CMAKE_CURRENT_SOURCE_DIR}/runtime/include/vitrine DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(FILES ${CMAKE_CURRENT_SOURCE_DIR}/runtime/valgrind.supp DESTINATION ${CMAKE_INSTALL_DATADIR}/vitrine)
install(EXPORT vitrineTargets NAMESPACE vitrine:: DESTINATION ${vitrine_package_dir})
configure_package_config_file(${CMAKE_CURRENT_LIST_DIR}/vitrineConfig.cmake.in
  ${CMAKE_CURRENT_BINARY_DIR}/vitrineConfig.cmake INSTALL_DESTINATION ${vitrine_package_dir})
write_basic_package_version_file(${CMAKE_CURRENT_BINARY_DIR}/vitrineConfigVersion.cmake
  VERSION ${PROJECT_VERSION} COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/vitrineConfig.cmake ${CMAKE_CURRENT_BINARY_DIR}/vitrineConfigVersion.cmake
  DESTINATION ${vitrine_package_dir})

if(TARGET vitrine_inspect)
  install(TARGETS vitrine_inspect LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
  install(FILES debugger/core/capi.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/vitrine-inspect)
endif()
if(TARGET vitrine-inspect)
  install(TARGETS vitrine-inspect RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
endif()
if(VITRINE_INSPECT)
  install(DIRECTORY debugger/python debugger/gdb debugger/lldb DESTINATION ${CMAKE_INSTALL_DATADIR}/vitrine
    FILES_MATCHING PATTERN "*.py" PATTERN "__pycache__" EXCLUDE)
endif()
