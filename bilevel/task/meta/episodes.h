// Few-shot tasks ("episodes") drawn from classes or domains.
#pragma once

#include <torch/types.h>

#include <cstdint>
#include <string>
#include <vector>

namespace bilevel {

/// Rows of one class.
struct TaskClass {
  std::string name;
  std::vector<int64_t> rows;
};

/// Classes from which the classes of one task are taken together: all classes of a part of the data or, where tasks
/// are domains, the labels of one domain.
struct TaskGroup {
  std::string name;  ///< of the domain; empty where there are none
  std::vector<TaskClass> classes;
};

struct EpisodeOptions {
  int64_t ways = 5;      ///< classes of a task (N), at least 2
  int64_t shots = 1;     ///< support rows of a class (K), at least 1
  int64_t queries = 10;  ///< query rows of a class (M), at least 1
};

/// Throws InputError for shots or queries below 1, and where classes of `groups` have fewer rows than both together; it names
/// the option, how many such classes there are and the smallest one. @param where for the message ("the test part")
void check_rows(const std::vector<TaskGroup>& groups, const EpisodeOptions& options,
                const std::string& where);

/// Tasks with their rows, class after class: row (t, c, i) of `support` is t * ways * shots + c * shots + i, and so
/// for `queries`.
struct Episodes {
  int64_t tasks = 0;
  std::vector<int64_t> support;  ///< tasks * ways * shots row numbers
  std::vector<int64_t> query;    ///< tasks * ways * queries row numbers
  std::vector<int64_t> units;    ///< tasks * ways numbers: of the domain, without domains of the class
};

/// N-way K-shot M-query tasks: a group is drawn uniformly, then N of its classes in random order (so that nothing can be
/// learned about the number a class has in a task), then K + M different rows of each. A task is known by its number: the same seed and number give the same task, whatever was
/// drawn before.
class EpisodeSource {
 public:
  EpisodeSource() = default;
  /// @param what which part of the data, for messages ("training"). Throws InputError for impossible options, no
  /// group, and a group with fewer classes than ways (it names group and numbers), and as `check_rows` does.
  EpisodeSource(std::vector<TaskGroup> groups, const EpisodeOptions& options, const std::string& what,
                uint64_t seed);

  /// The tasks with these numbers.
  Episodes draw(const std::vector<int64_t>& numbers) const;
  /// The tasks begin .. begin + count - 1.
  Episodes draw(int64_t begin, int64_t count) const;

  const EpisodeOptions& options() const { return options_; }
  const std::vector<TaskGroup>& groups() const { return groups_; }
  /// Different rows and classes of all groups.
  int64_t rows() const;
  int64_t classes() const;

 private:
  void append(int64_t number, Episodes& episodes) const;

  std::vector<TaskGroup> groups_;
  EpisodeOptions options_;
  uint64_t seed_ = 0;
};

/// [ways * count] class numbers in the layout of `Episodes`, for one task: 0 .. 0, 1 .. 1, ...
torch::Tensor episode_labels(int64_t ways, int64_t count);

/// Names chosen by a list such as "0-19,sports,30": each item is a name of `known`, or a range of whole numbers
/// whose ends are such names. @param field for messages ("train_classes"). Throws InputError for an unknown name (the
/// message lists those there are), an empty item, a range that runs backward, and a name given twice.
std::vector<std::string> names_in_list(const std::string& list, const std::vector<std::string>& known,
                                       const std::string& field);

}  // namespace bilevel
