#include "haul/unique_key.hpp"

#include "haul/error.hpp"
#include "sha256.hpp"

#include <map>
#include <nlohmann/json.hpp>
#include <vector>

namespace haul {

namespace {

using nlohmann::json;

std::string json_string(const std::string& text) {
    return json(text).dump();
}

/// Writes JSON again with its keys in order. It works on events and not on a json value, since that would
/// round long numbers, and different arguments would get one key.
class canonical_writer : public json::json_sax_t {
public:
    const std::string& text() const noexcept { return text_; }

    bool null() override { return add("null"); }
    bool boolean(bool value) override { return add(value ? "true" : "false"); }
    bool number_integer(json::number_integer_t value) override { return add(std::to_string(value)); }
    bool number_unsigned(json::number_unsigned_t value) override { return add(std::to_string(value)); }
    bool number_float(json::number_float_t, const std::string& written) override { return add(written); }
    bool string(std::string& value) override { return add(json_string(value)); }
    bool binary(json::binary_t&) override { return false; }

    bool start_object(std::size_t) override {
        open_.emplace_back();
        return true;
    }
    bool key(std::string& name) override {
        open_.back().key = json_string(name);
        return true;
    }
    bool end_object() override {
        const auto members = std::move(open_.back().members);
        open_.pop_back();
        std::string object;
        for (const auto& [name, value] : members)
            object += (object.empty() ? "" : ",") + name + ':' + value;
        return add('{' + object + '}');
    }

    bool start_array(std::size_t) override { return start_object(0); }
    bool end_array() override {
        const auto items = std::move(open_.back().items);
        open_.pop_back();
        std::string array;
        for (const auto& item : items)
            array += (array.empty() ? "" : ",") + item;
        return add('[' + array + ']');
    }

    bool parse_error(std::size_t, const std::string&, const json::exception& e) override {
        throw bad_job{std::string{"job arguments are no JSON text: "} + e.what(), "22P02"};
    }

private:
    /// An object or array that has begun and not ended; of an array only the items count.
    struct container {
        std::map<std::string, std::string> members;
        std::vector<std::string> items;
        std::string key;
    };

    bool add(std::string value) {
        if (open_.empty())
            text_ = std::move(value);
        else if (open_.back().key.empty())
            open_.back().items.push_back(std::move(value));
        else
            open_.back().members[open_.back().key] =
                std::move(value); // the last of equal keys counts, as in jsonb
        return true;
    }

    std::vector<container> open_;
    std::string text_;
};

} // namespace

std::string unique_key(const std::string& kind, const job_args& args) {
    canonical_writer writer;
    json::sax_parse(args.text(), &writer);
    return kind + ':' + sha256_hex(writer.text());
}

} // namespace haul
