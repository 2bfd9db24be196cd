#include "config.hpp"
#include "support/temporary_directory.hpp"

#include <gmock/gmock.h>

namespace haul::program {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::EndsWith;
using testing::HasSubstr;

class config_file : public testing::Test {
protected:
    settings read(const std::string& yaml) {
        settings result;
        read_config(directory_.write("worker.yml", yaml), result);
        return result;
    }

    /// The file's complaint, without the path of the file.
    std::string complaint(const std::string& yaml) {
        try {
            read(yaml);
        } catch (const usage_error& e) {
            const std::string text = e.what();
            return text.substr(text.find("worker.yml"));
        }
        return "";
    }

private:
    test::temporary_directory directory_;
};

TEST_F(config_file, reads_every_key) {
    const auto [worker, handlers] = read(R"(
haul:
  dsn: postgresql:///app
  identifier: w1
  namespace: billing
  queues: critical:8,default:1
  exclude: [slow, "a,b"]
  min_priority: 2
  max_priority: 300
  min_threads: 3
  max_threads: 30
  max_thread_idletime: 90
  enable_listener: false
  polling_interval: 2.5
  polling_jitter: 0.25
  heartbeat_interval: 5
  set_db_connection_name: false
  wait_for_termination: 20
  log_file: /var/log/haul.log
  log_level: debug
  log_size: 1000000
  log_count: 9
  quiet: true
  handlers:
    noop: {builtin: noop}
    thumb: {exec: [./thumb.sh, --size, "64"]}
    app.refresh: {sql: app.refresh}
    count: {plugin: ./count.so}
)");
    EXPECT_EQ(worker.dsn, "postgresql:///app");
    EXPECT_EQ(worker.identifier, "w1");
    EXPECT_EQ(worker.name_space, "billing");
    ASSERT_EQ(worker.queues.size(), 2u);
    EXPECT_EQ(worker.queues[0].name, "critical");
    EXPECT_EQ(worker.queues[0].weight, 8);
    EXPECT_TRUE(worker.weighted);
    EXPECT_THAT(worker.exclude, ElementsAre("slow", "a,b"));
    EXPECT_EQ(worker.min_priority, 2);
    EXPECT_EQ(worker.max_priority, 300);
    EXPECT_EQ(worker.min_threads, 3);
    EXPECT_EQ(worker.max_threads, 30);
    EXPECT_EQ(worker.max_thread_idletime, 90s);
    EXPECT_EQ(worker.wait, wait_mode::poll);
    EXPECT_EQ(worker.polling_interval, 2500ms);
    EXPECT_EQ(worker.polling_jitter, 0.25);
    EXPECT_EQ(worker.heartbeat_interval, 5s);
    EXPECT_FALSE(worker.set_db_connection_name);
    EXPECT_EQ(worker.wait_for_termination.how, termination::mode::limited);
    EXPECT_EQ(worker.wait_for_termination.limit, 20s);
    EXPECT_EQ(worker.log.file, "/var/log/haul.log");
    EXPECT_EQ(worker.log.level, "debug");
    EXPECT_EQ(worker.log.size, 1000000u);
    EXPECT_EQ(worker.log.count, 9u);
    EXPECT_TRUE(worker.log.quiet);

    ASSERT_EQ(handlers.size(), 4u);
    EXPECT_EQ(handlers[0].how, handler_spec::type::builtin);
    EXPECT_EQ(handlers[1].how, handler_spec::type::exec);
    EXPECT_THAT(handlers[1].words, ElementsAre("./thumb.sh", "--size", "64"));
    EXPECT_EQ(handlers[2].kind, "app.refresh");
    EXPECT_EQ(handlers[2].how, handler_spec::type::sql);
    EXPECT_EQ(handlers[3].how, handler_spec::type::plugin);
    EXPECT_THAT(handlers[3].words, ElementsAre("./count.so"));
}

TEST_F(config_file, leaves_alone_what_it_does_not_name) {
    settings into;
    into.worker.max_threads = 7;
    test::temporary_directory directory;
    read_config(directory.write("w.yml", "haul:\n  min_threads: 2\n"), into);
    EXPECT_EQ(into.worker.max_threads, 7);
    EXPECT_EQ(into.worker.min_threads, 2);
}

TEST_F(config_file, wait_for_termination_has_four_forms) {
    const auto termination_of = [&](const std::string& value) {
        return read("haul: {wait_for_termination: " + value + "}").worker.wait_for_termination;
    };
    EXPECT_EQ(termination_of("true").how, termination::mode::wait_forever);
    EXPECT_EQ(termination_of("false").how, termination::mode::abandon);
    EXPECT_EQ(termination_of("0").how, termination::mode::limited);
    EXPECT_EQ(termination_of("0").limit, 0ms);
    EXPECT_EQ(termination_of("1.5").limit, 1500ms);
    EXPECT_THAT(complaint("haul: {wait_for_termination: soon}"), HasSubstr("haul.wait_for_termination"));
    EXPECT_THAT(complaint("haul: {wait_for_termination: -1}"), HasSubstr("haul.wait_for_termination"));
}

TEST_F(config_file, the_way_to_wait_has_two_keys_that_must_agree) {
    const auto wait_of = [&](const std::string& keys) { return read("haul: {" + keys + "}").worker.wait; };
    EXPECT_EQ(wait_of(""), wait_mode::listen);
    EXPECT_EQ(wait_of("wait: listen"), wait_mode::listen);
    EXPECT_EQ(wait_of("wait: call"), wait_mode::call);
    EXPECT_EQ(wait_of("wait: poll"), wait_mode::poll);
    EXPECT_EQ(wait_of("enable_listener: true"), wait_mode::listen);
    EXPECT_EQ(wait_of("enable_listener: false"), wait_mode::poll);
    EXPECT_EQ(wait_of("enable_listener: false, wait: poll"), wait_mode::poll);
    EXPECT_EQ(wait_of("wait: listen, enable_listener: true"), wait_mode::listen);
    for (const char* keys :
         {"  enable_listener: false\n  wait: call\n", "  enable_listener: false\n  wait: listen\n",
          "  enable_listener: true\n  wait: call\n", "  enable_listener: true\n  wait: poll\n"})
        EXPECT_THAT(complaint("haul:\n" + std::string{keys}),
                    testing::AllOf(HasSubstr("worker.yml:3: haul.wait"), HasSubstr("enable_listener")))
            << keys;
    EXPECT_THAT(complaint("haul:\n  wait: call\n  enable_listener: true\n"),
                HasSubstr("worker.yml:2: haul.wait: \"call\" contradicts enable_listener: true"));
}

TEST_F(config_file, queues_are_text_list_or_mappings) {
    EXPECT_THAT(read("haul: {queues: '-a,b'}").worker.exclude, ElementsAre("a", "b"));
    EXPECT_TRUE(read("haul: {queues: '*'}").worker.queues.empty());

    const auto worker =
        read("haul:\n  queues:\n    - a:3\n    - {name: 'x,y:5', weight: 2}\n    - {name: '*'}\n").worker;
    ASSERT_EQ(worker.queues.size(), 3u);
    EXPECT_EQ(worker.queues[0].weight, 3);
    EXPECT_EQ(worker.queues[1].name, "x,y:5");
    EXPECT_EQ(worker.queues[1].weight, 2);
    EXPECT_EQ(worker.queues[2].name, "*");

    EXPECT_THAT(complaint("haul:\n  queues:\n    - a\n    - {nam: b}\n"),
                HasSubstr("worker.yml:4: haul.queues[1].nam: unknown key"));
    EXPECT_THAT(complaint("haul:\n  queues:\n    - a\n    - a\n"),
                HasSubstr("worker.yml:4: haul.queues[1]: queue \"a\" is named twice"));
}

TEST_F(config_file, names_file_line_and_key_of_an_unknown_key) {
    EXPECT_THAT(complaint("haul:\n  quiet: true\n  colour: red\n"),
                HasSubstr("worker.yml:3: haul.colour: unknown key; keys are dsn, identifier, namespace, "));
    EXPECT_THAT(complaint("haul: {}\nhual: {}\n"), HasSubstr("worker.yml:2: hual: unknown key"));
}

TEST_F(config_file, refuses_a_key_given_twice) {
    EXPECT_THAT(complaint("haul:\n  quiet: true\n  quiet: false\n"),
                EndsWith("worker.yml:3: haul.quiet: is given twice"));
    EXPECT_THAT(complaint("haul:\n  handlers:\n    a: {builtin: noop}\n    a: {builtin: echo}\n"),
                EndsWith("worker.yml:4: haul.handlers.a: is given twice"));
}

TEST_F(config_file, refuses_wrong_types_and_values_out_of_range) {
    const std::pair<const char*, const char*> cases[] = {
        {"max_threads", "ten"},
        {"max_threads", "0"},
        {"max_threads", "10001"},
        {"max_threads", "1.5"},
        {"max_threads", "'5'"},
        {"max_threads", "010"},
        {"max_threads", "0x10"},
        {"max_threads", "0o10"},
        {"polling_interval", "010"},
        {"polling_interval", "inf"},
        {"identifier", "\"a\\0b\""},
        {"dsn", "\"\\0\""},
        {"queues", "[]"},
        {"max_threads", "[5]"},
        {"min_priority", "0"},
        {"max_priority", "32768"},
        {"max_priority", "99999999999999999999"},
        {"polling_interval", "0"},
        {"polling_interval", "-1"},
        {"polling_interval", ".inf"},
        {"polling_interval", ".nan"},
        {"polling_interval", "1 minute"},
        {"polling_jitter", "1.1"},
        {"quiet", "maybe"},
        {"quiet", "'true'"},
        {"quiet", "1"},
        {"log_level", "loud"},
        {"log_size", "10"},
        {"log_count", "0"},
        {"identifier", "''"},
        {"identifier", "{a: b}"},
        {"namespace", "''"},
        {"exclude", "a"},
        {"exclude", "[[a]]"},
        {"exclude", "['']"},
        {"queues", "''"},
        {"queues", "[[a]]"},
        {"handlers", "[a]"},
        {"heartbeat_interval", "~"},
        {"wait", "sleep"},
        {"wait", "[call]"},
        {"wait", "true"},
    };
    for (const auto& [key, value] : cases)
        EXPECT_THAT(complaint("haul:\n  " + std::string{key} + ": " + value + "\n"),
                    HasSubstr("worker.yml:2: haul." + std::string{key}))
            << key << ": " << value;
}

TEST_F(config_file, refuses_bad_handlers) {
    const std::pair<const char*, const char*> cases[] = {
        {"{}", "must have one key"},
        {"{builtin: noop, exec: [a]}", "must have one key"},
        {"noop", "must be a mapping"},
        {"{builtin: dance}", "unknown builtin handler \"dance\""},
        {"{exec: ./a.sh}", "must be a list"},
        {"{exec: []}", "needs to be told what to run"},
        {"{exec: ['']}", "needs to be told what to run"},
        {"{sql: refresh}", "schema.function"},
        {"{sql: .f}", "schema.function"},
        {"{plugin: ''}", "needs to be told what to run"},
        {"{http: 'http://x'}", "not supported by this version"},
        {"{lambda: x}", "unknown type of handler \"lambda\""},
    };
    for (const auto& [value, expected] : cases) {
        const auto text = complaint("haul:\n  handlers:\n    mail: " + std::string{value} + "\n");
        EXPECT_THAT(text, HasSubstr("worker.yml:3: haul.handlers.mail")) << value;
        EXPECT_THAT(text, HasSubstr(expected)) << value;
    }
    EXPECT_THAT(complaint("haul:\n  handlers:\n    '': {builtin: noop}\n"), HasSubstr("1 to 128 characters"));
}

TEST_F(config_file, refuses_what_is_no_configuration) {
    EXPECT_THAT(complaint("haul:\n  queues: *all\n"), HasSubstr("worker.yml:2: "));
    EXPECT_THAT(complaint("haul: [1\n"), HasSubstr("worker.yml:"));
    EXPECT_THAT(complaint("- haul\n"), HasSubstr("must have the root key \"haul\""));
    EXPECT_THAT(complaint("haul: 3\n"), HasSubstr("worker.yml:1: haul: must be a mapping"));
    EXPECT_THAT(complaint(""), HasSubstr("must have the root key \"haul\""));
    EXPECT_THAT(complaint("haul:\n  quiet: true\n---\nhaul:\n  quiet: false\n"),
                HasSubstr("worker.yml:4: a second document"));
    EXPECT_THAT(complaint("haul:\n\tquiet: true\n"), HasSubstr("line 2 is indented by a tab"));
    EXPECT_THAT(complaint("haul:\n  handlers:\n  \ta: {builtin: noop}\n"),
                HasSubstr("line 3 is indented by a tab"));
    settings into;
    for (const auto& [file, problem] :
         {std::pair{"/nonexistent/worker.yml", "No such file or directory"}, {"/tmp", "is a directory"}}) {
        try {
            read_config(file, into);
            ADD_FAILURE() << file;
        } catch (const usage_error& refused) {
            EXPECT_THAT(refused.what(), testing::AllOf(HasSubstr(file), HasSubstr(problem)));
        }
    }
}

TEST_F(config_file, nothing_below_the_root_key_means_all_defaults) {
    EXPECT_EQ(read("haul:\n").worker.max_threads, settings{}.worker.max_threads);
    EXPECT_EQ(read("--- \nhaul: ~\n...\n").worker.max_threads, settings{}.worker.max_threads);
}

TEST_F(config_file, numbers_are_decimal) {
    EXPECT_EQ(read("haul: {max_threads: 10}").worker.max_threads, 10);
    EXPECT_EQ(read("haul: {polling_jitter: 0}").worker.polling_jitter, 0);
    EXPECT_EQ(read("haul: {polling_jitter: 0.25}").worker.polling_jitter, 0.25);
    EXPECT_EQ(read("haul: {polling_interval: 1e2}").worker.polling_interval, 100s);
    EXPECT_THAT(complaint("haul: {max_threads: 010}"), HasSubstr("without leading zeros"));
}

TEST_F(config_file, blanks_around_the_names_of_queues_are_no_part_of_them) {
    const auto queues = read("haul: {queues: ' a , b : 2,c '}").worker.queues;
    ASSERT_EQ(queues.size(), 3u);
    EXPECT_EQ(queues[0].name + queues[1].name + queues[2].name, "abc");
    EXPECT_EQ(queues[1].weight, 2);
    EXPECT_THAT(read("haul: {queues: '- a, b'}").worker.exclude, ElementsAre("a", "b"));
    EXPECT_THAT(complaint("haul: {queues: 'a, ,b'}"), HasSubstr("haul.queues"));
    EXPECT_EQ(read("haul:\n  queues:\n    - {name: ' a '}\n").worker.queues[0].name, " a ");
}

} // namespace
} // namespace haul::program
