#include "handlers/handlers.hpp"

#include "haul/error.hpp"
#include "haul/pqxx_compat.hpp"

#include <memory>
#include <mutex>
#include <optional>
#include <vector>

namespace haul::core {

namespace {

/// A function of the database, looked up when it is first called, and again when it is not there any more.
/// Types are named with their schema: the search_path is the database's.
class database_function {
public:
    explicit database_function(const std::string& name) : name_{name} {
        const auto dot = name.find('.');
        if (dot == std::string::npos || dot == 0 || dot + 1 == name.size())
            throw error{"an sql handler is named schema.function, not \"" + name + "\""};
        schema_ = name.substr(0, dot);
        function_ = name.substr(dot + 1);
    }

    outcome run(const job_context& job) {
        auto& transaction = job.transaction();
        const auto function = look_up(transaction);
        std::vector<compat::param> arguments{std::string{job.args_text()}};
        if (function.takes_job)
            arguments.emplace_back(job.to_json());
        const auto rows = call(transaction, function.call, arguments);
        if (rows.size() != 1 || rows[0][0].is_null())
            return completed{};
        return completed::with_text(rows[0][0].as<std::string>()); // of a function that returns void: empty
    }

private:
    struct found {
        std::string call; ///< a query
        bool takes_job = false;
    };

    pqxx::result call(pqxx::transaction_base& transaction, const std::string& query,
                      const std::vector<compat::param>& arguments) {
        try {
            return compat::exec_list(transaction, query, arguments);
        } catch (const pqxx::undefined_function&) { // the next attempt finds what it has become
            const std::lock_guard lock{mutex_};
            found_.reset();
            throw;
        }
    }

    found look_up(pqxx::transaction_base& transaction) {
        const std::lock_guard lock{mutex_};
        if (found_)
            return *found_;
        const auto rows = compat::exec(
            transaction,
            "SELECT pg_catalog.format('%I.%I', $1::pg_catalog.text, $2::pg_catalog.text), p.prorettype IN"
            " ('pg_catalog.jsonb'::pg_catalog.regtype, 'pg_catalog.json'::pg_catalog.regtype,"
            " 'pg_catalog.void'::pg_catalog.regtype) AND NOT p.proretset, p.pronargs = 2"
            " FROM pg_catalog.pg_proc AS p WHERE p.oid IN (pg_catalog.to_regprocedure("
            "pg_catalog.format('%I.%I(pg_catalog.jsonb)', $1::pg_catalog.text, $2::pg_catalog.text)),"
            " pg_catalog.to_regprocedure("
            "pg_catalog.format('%I.%I(pg_catalog.jsonb, pg_catalog.jsonb)', $1::pg_catalog.text, "
            "$2::pg_catalog.text)))"
            " ORDER BY p.pronargs LIMIT 1",
            schema_, function_);
        if (rows.empty())
            throw error{"there is no function " + name_ + "(jsonb) or " + name_ + "(jsonb, jsonb)"};
        const bool takes_job = rows[0][2].as<bool>();
        const std::string arguments = takes_job ? "(jsonb, jsonb)" : "(jsonb)";
        if (!rows[0][1].as<bool>())
            throw error{"function " + name_ + arguments + " must return jsonb, json or void"};
        const std::string values =
            takes_job ? "($1::pg_catalog.jsonb, $2::pg_catalog.jsonb)" : "($1::pg_catalog.jsonb)";
        return found_.emplace(
            found{"SELECT " + rows[0][0].as<std::string>() + values + "::pg_catalog.text", takes_job});
    }

    std::string name_;
    std::string schema_;
    std::string function_;
    std::mutex mutex_;
    std::optional<found> found_;
};

} // namespace

handler make_sql_handler(const std::string& name) {
    return [function = std::make_shared<database_function>(name)](const job_context& job) {
        return function->run(job);
    };
}

} // namespace haul::core
