// Everything that a user of the library needs for a problem of their own.
#pragma once

#include "bilevel/check/check.h"
#include "bilevel/core/parameters.h"
#include "bilevel/problem/problem.h"
#include "bilevel/solver/adambo/adambo.h"
#include "bilevel/solver/run.h"
