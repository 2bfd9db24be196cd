// The libraries as a program outside this project uses them: installed, and found by CMake.
#include "support/process.hpp"
#include "support/temporary_directory.hpp"

#include <gtest/gtest.h>

namespace haul::test {
namespace {

TEST(worker_package, builds_a_program_outside_this_project) {
    const temporary_directory directory;
    const std::string root = directory.path().string();
    const std::string examples = HAUL_SOURCE_DIR;
    directory.write("CMakeLists.txt", "cmake_minimum_required(VERSION 3.22)\n"
                                      "project(outside LANGUAGES C CXX)\n"
                                      "find_package(haul_client REQUIRED)\n"
                                      "find_package(haul_worker REQUIRED)\n"
                                      "foreach(example IN ITEMS enqueue workflow feedback)\n"
                                      "add_executable(${example} " +
                                          examples +
                                          "/client-cpp/examples/${example}.cpp)\n"
                                          "target_link_libraries(${example} PRIVATE haul::client)\n"
                                          "endforeach()\n"
                                          "add_executable(hello " +
                                          examples +
                                          "/worker/examples/hello.cpp)\n"
                                          "target_link_libraries(hello PRIVATE haul::worker)\n");
    run({"cmake", "--install", HAUL_BUILD_DIR, "--prefix", root + "/prefix"});
    run({"cmake", "-S", root, "-B", root + "/build", "-DCMAKE_PREFIX_PATH=" + root + "/prefix",
         "-DCMAKE_CXX_FLAGS=" HAUL_SANITIZER_FLAGS});
    run({"cmake", "--build", root + "/build"});
    for (const char* program : {"/build/enqueue", "/build/workflow", "/build/feedback", "/build/hello"}) {
        process child{{root + program, "host=/nonexistent"}};
        EXPECT_EQ(child.wait(), 1);
        EXPECT_NE(child.errors().find("/nonexistent"), std::string::npos) << child.errors();
    }
}

} // namespace
} // namespace haul::test
