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
/// @param unit_of of each row number: rows with one number stay together; empty: every row by itself. A unit counts for
/// that of its classes of which it holds the largest share of the rows; for the rarest, where too few units would count for a class.
/// Per class the counts are exact up to rounding (largest remainder, ties to the earlier part) where every row is by itself,
/// and otherwise as near as units, the largest placed first, come to that; every part gets at least one row of each class
/// that occurs. InputError for impossible shares, and where there are too few units for that.
std::vector<std::vector<int64_t>> stratified_split(const std::vector<int64_t>& rows,
                                                   const std::vector<int64_t>& labels,
                                                   const std::vector<double>& shares,
                                                   at::Generator& generator,
                                                   const std::vector<std::string>& names = {},
                                                   const std::vector<int64_t>& unit_of = {});

/// Deals `rows` at random into `folds` parts of nearly equal size: the fold of each element.
/// @param unit_of as above, by row number
std::vector<int64_t> draw_folds(const std::vector<int64_t>& rows, int64_t folds, at::Generator& generator,
                                const std::vector<int64_t>& unit_of = {});

/// Cuts `rows` into one part per share along `values` (of row numbers): the smallest go to the first part. Rows of one value
/// or one unit stay together, in the part of the unit's largest value. InputError when a part would be empty.
std::vector<std::vector<int64_t>> ordered_split(const std::vector<int64_t>& rows,
                                                const std::vector<double>& values,
                                                const std::vector<double>& shares,
                                                const std::vector<int64_t>& unit_of = {});

/// Removes rows of one class at random until the share of positive rows (label 1) is as near as can be to
/// `positive_share`; the order stays. InputError when the share is not between 0 and 1, or no row of a class
/// would be left.
std::vector<int64_t> thin(const std::vector<int64_t>& rows, const std::vector<int64_t>& labels,
                          double positive_share, at::Generator& generator);

}  // namespace bilevel
