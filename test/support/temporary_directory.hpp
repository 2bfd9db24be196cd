#ifndef HAUL_TEST_TEMPORARY_DIRECTORY_HPP
#define HAUL_TEST_TEMPORARY_DIRECTORY_HPP

#include <filesystem>
#include <string>

namespace haul::test {

/// A fresh directory below TMPDIR (or /tmp), which other users may enter. It is removed with all it holds.
class temporary_directory {
public:
    temporary_directory();
    ~temporary_directory();
    temporary_directory(const temporary_directory&) = delete;
    temporary_directory& operator=(const temporary_directory&) = delete;

    const std::filesystem::path& path() const { return path_; }

    /// Writes a file into it and returns the file's path.
    std::string write(const std::string& name, const std::string& content) const;

private:
    std::filesystem::path path_;
};

} // namespace haul::test

#endif
