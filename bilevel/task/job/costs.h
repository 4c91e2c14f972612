// About what the phases of a job cost: nanoseconds on one core, within a factor of about three. Only how they compare counts.
#pragma once

#include <cstdint>

#include "bilevel/model/network.h"
#include "bilevel/solver/solver.h"
#include "bilevel/task/job/job_data.h"

namespace bilevel {

/// Rows of which derivatives are evaluated: every call is one of each row of its batch.
int64_t rows_derived(const OracleCounts& calls, int64_t lower_batch, int64_t upper_batch);

/// One derivative of a network's outputs at one of the rows, forward and back.
double row_cost(const Network& network, const Inputs& inputs);

/// So many calls, each for a batch of so many rows.
double derivatives_cost(double calls, int64_t batch, const Network& network, const Inputs& inputs);

/// `steps` steps of a solver, by its documented calls, with batches of so many rows.
double training_cost(Solver& solver, int64_t steps, int64_t lower_batch, int64_t upper_batch,
                     const Network& network, const Inputs& inputs);

/// Hashing the words and n-grams of all rows, by their tokens.
double ngrams_cost(const Inputs& tokens);

/// One fit of a linear model to `rows` rows: some hundred products of all entries with a vector. Rows of
/// tokens: to their n-grams.
double linear_fit_cost(const FittedInputs& inputs, int64_t rows);

/// Gradient boosting of trees, with a refit: some hundred rounds over all entries, of more than two classes for each.
double boosting_cost(const FittedInputs& inputs, int64_t rows, int64_t classes = 2);

}  // namespace bilevel
