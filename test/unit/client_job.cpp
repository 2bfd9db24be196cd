#include "haul/error.hpp"
#include "haul/job.hpp"
#include "haul/unique_key.hpp"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace haul {
namespace {

using nlohmann::json;

std::string queue_in(const std::string& name_space, std::optional<std::string> queue) {
    job_options options;
    options.queue = std::move(queue);
    return in_namespace(name_space, options).queue.value_or("(none)");
}

TEST(client_job, args_are_text_or_json) {
    EXPECT_EQ(job_args{}.text(), "{}");
    EXPECT_EQ(job_args{"{\"a\": 1}"}.text(), "{\"a\": 1}");
    const json value = {{"a", {1, 2}}};
    EXPECT_EQ(job_args{value}.text(), "{\"a\":[1,2]}");
    EXPECT_THROW(job_args{json("\xff")}, bad_job);
}

TEST(client_job, a_namespace_goes_before_the_queue) {
    EXPECT_EQ(queue_in("billing", "mail"), "billing.mail");
    EXPECT_EQ(queue_in("billing", std::nullopt), "billing.default");
    EXPECT_EQ(queue_in("billing", "billing.mail"), "billing.mail");
    EXPECT_EQ(queue_in("billing", "billing"), "billing.billing");
    EXPECT_EQ(queue_in("", "mail"), "mail");
    EXPECT_EQ(queue_in("", std::nullopt), "(none)");
}

TEST(unique_key, is_the_kind_and_the_sha256_of_the_arguments) {
    EXPECT_EQ(unique_key("k", "{}"), "k:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a");
    // From sha256sum; the lengths go round the ends of a block of 64 bytes.
    const std::pair<std::size_t, const char*> digests[] = {
        {55, "d08834b873b5615b1ad5c14d5444c883f9c4067a8f2560f225eea884e60678d7"},
        {56, "d3b29c0ba3ab8f13a760dbca290a0538887a1e184c3d394ad36c81e71ac27cba"},
        {63, "6d6dcb4dc21e86526f2facf0eff69da45427b33625b9801544795ee5a22740b5"},
        {64, "dbf4bcc20158ff7658b3d65a73bb51834bd94ca5b032329b98694cb6fabb7d0e"},
        {65, "e9a5389d8e8178dc4c1d4ff6daf25378996bdff34fa4b63d10809a85b6a62ad6"},
        {1000, "7591e2b333525b072a22133ceb7237367e551bb7d9dad9c1989c0b5766d77be2"},
    };
    for (const auto& [length, digest] : digests)
        EXPECT_EQ(unique_key("k", "{\"a\":\"" + std::string(length - 8, 'x') + "\"}"),
                  std::string{"k:"} + digest);
}

TEST(unique_key, does_not_depend_on_the_order_of_keys_or_on_blanks) {
    const auto key = unique_key("k", R"({"a":[1,{"x":1,"y":2}],"b":"é\n"})");
    EXPECT_EQ(unique_key("k", R"( { "b" : "\u00e9\n", "a" : [1, {"y":2, "x":1}] } )"), key);
    EXPECT_EQ(unique_key("k", json{{"b", "é\n"}, {"a", {1, json{{"y", 2}, {"x", 1}}}}}), key);
}

TEST(unique_key, depends_on_everything_else) {
    const auto key = unique_key("k", R"({"a":[1,2]})");
    EXPECT_NE(unique_key("l", R"({"a":[1,2]})"), key);
    EXPECT_NE(unique_key("k", R"({"a":[2,1]})"), key);
    EXPECT_NE(unique_key("k", R"({"a":["1",2]})"), key);
    EXPECT_NE(unique_key("k", R"({"b":[1,2]})"), key);
    EXPECT_NE(unique_key("k", R"({"a":{}})"), unique_key("k", R"({"a":[]})"));
    EXPECT_NE(unique_key("k", R"({"a":{"":1}})"), unique_key("k", R"({"a":[1]})"));
}

TEST(unique_key, does_not_round_numbers) {
    EXPECT_NE(unique_key("k", R"({"a":123456789012345678901234567890})"),
              unique_key("k", R"({"a":123456789012345678901234567891})"));
    EXPECT_NE(unique_key("k", R"({"a":0.10000000000000000001})"), unique_key("k", R"({"a":0.1})"));
}

TEST(unique_key, the_last_of_equal_keys_counts) {
    EXPECT_EQ(unique_key("k", R"({"a":1,"a":2})"), unique_key("k", R"({"a":2})"));
}

TEST(unique_key, refuses_what_is_no_json) {
    EXPECT_THROW(unique_key("k", "{"), bad_job);
    EXPECT_THROW(unique_key("k", ""), bad_job);
    EXPECT_THROW(unique_key("k", "{} x"), bad_job);
}

} // namespace
} // namespace haul
