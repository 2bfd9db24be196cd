#include "haul/error.hpp"
#include "queue_spec.hpp"

#include <gmock/gmock.h>

namespace haul::program {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

worker_options parsed(const std::vector<std::string>& specs) {
    worker_options options;
    for (const auto& spec : specs)
        add_queues(options, spec);
    return options;
}

std::vector<std::string> names(const worker_options& options) {
    std::vector<std::string> result;
    for (const auto& queue : options.queues)
        result.push_back(queue.name);
    return result;
}

std::string complaint(const std::vector<std::string>& specs) {
    try {
        parsed(specs);
    } catch (const error& e) {
        return e.what();
    }
    return "";
}

TEST(queue_spec, names_queues_in_their_order) {
    const auto options = parsed({"b,a", "c"});
    EXPECT_THAT(names(options), ElementsAre("b", "a", "c"));
    EXPECT_THAT(options.exclude, IsEmpty());
    EXPECT_FALSE(options.weighted);
}

TEST(queue_spec, minus_excludes_all_that_follow) {
    const auto options = parsed({"-a,b"});
    EXPECT_THAT(options.queues, IsEmpty());
    EXPECT_THAT(options.exclude, ElementsAre("a", "b"));
}

TEST(queue_spec, star_takes_all) {
    EXPECT_THAT(parsed({"*"}).queues, IsEmpty());
    EXPECT_THAT(parsed({"*", "-a"}).exclude, ElementsAre("a"));
    EXPECT_NE(complaint({"a,*"}), "");
    EXPECT_NE(complaint({"-*"}), "");
}

TEST(queue_spec, weights_make_the_order_weighted) {
    const auto options = parsed({"critical:8,default:1.5,rest"});
    EXPECT_TRUE(options.weighted);
    ASSERT_THAT(names(options), ElementsAre("critical", "default", "rest"));
    EXPECT_EQ(options.queues[0].weight, 8);
    EXPECT_EQ(options.queues[1].weight, 1.5);
    EXPECT_EQ(options.queues[2].weight, 1);
}

TEST(queue_spec, a_colon_without_a_number_is_part_of_the_name) {
    const auto options = parsed({"a;b:c\"d'e🙂"});
    EXPECT_THAT(names(options), ElementsAre("a;b:c\"d'e🙂"));
    EXPECT_FALSE(options.weighted);
}

TEST(queue_spec, length_is_counted_in_characters) {
    std::string emoji;
    for (int i = 0; i < 63; ++i)
        emoji += "🙂";
    EXPECT_EQ(complaint({emoji}), "");
    EXPECT_NE(complaint({emoji + "x"}), "");
    EXPECT_NE(complaint({std::string(64, 'a')}), "");
}

TEST(queue_spec, refuses_what_makes_no_sense) {
    for (const char* spec : {"", "a,,b", "a,", "-", "-a,", ":3", "a:0", "a:-1", "a:1e7", "a,a"})
        EXPECT_NE(complaint({spec}), "") << spec;
    EXPECT_NE(complaint({"a", "a"}), "");
}

} // namespace
} // namespace haul::program
