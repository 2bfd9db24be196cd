# The target PkgConfig::haul_pq: libpqxx and libpq, and the C++ standard that the headers of this libpqxx ask for.
find_package(PkgConfig REQUIRED)
pkg_check_modules(haul_pq REQUIRED IMPORTED_TARGET GLOBAL libpqxx libpq)
if(haul_pq_libpqxx_VERSION VERSION_GREATER_EQUAL 8)
    target_compile_features(PkgConfig::haul_pq INTERFACE cxx_std_20)
else()
    target_compile_features(PkgConfig::haul_pq INTERFACE cxx_std_17)
endif()
