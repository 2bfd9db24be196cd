#include "support/temporary_directory.hpp"

#include <cerrno>
#include <cstdlib>
#include <fstream>
#include <system_error>

namespace haul::test {

namespace fs = std::filesystem;

temporary_directory::temporary_directory() {
    std::string pattern = (fs::temp_directory_path() / "haul.XXXXXX").string();
    if (mkdtemp(pattern.data()) == nullptr)
        throw std::system_error(errno, std::generic_category(), pattern);
    path_ = pattern;
    fs::permissions(path_, fs::perms::group_exec | fs::perms::others_exec, fs::perm_options::add);
}

temporary_directory::~temporary_directory() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
}

std::string temporary_directory::write(const std::string& name, const std::string& content) const {
    const fs::path file = path_ / name;
    std::ofstream stream(file, std::ios::binary);
    stream << content;
    stream.close();
    if (!stream)
        throw std::system_error(errno, std::generic_category(), file.string());
    return file.string();
}

} // namespace haul::test
