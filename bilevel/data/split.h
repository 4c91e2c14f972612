// Splitting row numbers by class, and making an imbalance.
#pragma once

#include <ATen/core/Generator.h>

#include <cstdint>
#include <string>
#include <vector>

namespace bilevel {

/// Splits `rows` at random into one part per share, each with the same share of every class.
/// @param rows row numbers; each part keeps their order.
/// @param labels class of each row number (not of each element of `rows`).
/// @param shares positive, with sum 1.
/// @param names of the classes, for messages; may be empty.
/// Per class the counts are exact up to rounding (largest remainder, ties to the earlier part), but every
/// part gets at least one row of each class that occurs. InputError for impossible shares, or when a class
/// has fewer rows than there are parts.
std::vector<std::vector<int64_t>> stratified_split(const std::vector<int64_t>& rows,
                                                   const std::vector<int64_t>& labels,
                                                   const std::vector<double>& shares,
                                                   at::Generator& generator,
                                                   const std::vector<std::string>& names = {});

/// Removes rows of one class at random until the share of positive rows (label 1) is as near as can be to
/// `positive_share`; the order stays. InputError when the share is not between 0 and 1, or no row of a class
/// would be left.
std::vector<int64_t> thin(const std::vector<int64_t>& rows, const std::vector<int64_t>& labels,
                          double positive_share, at::Generator& generator);

}  // namespace bilevel
