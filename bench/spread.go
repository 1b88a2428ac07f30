package main

import (
	"encoding/json"
	"math"
	"slices"
	"strconv"
)

// A spread is one figure as measured in each round.
type spread []float64

func (s spread) median() float64 {
	if len(s) == 0 {
		return math.NaN()
	}
	v := slices.Sorted(slices.Values(s))
	return (v[(len(v)-1)/2] + v[len(v)/2]) / 2
}

// over returns the ratio of s to floor, round by round: what both were measured
// in together.
func (s spread) over(floor spread) spread {
	return s.with(floor, func(a, b float64) float64 { return a / b })
}

func (s spread) minus(floor spread) spread {
	return s.with(floor, func(a, b float64) float64 { return a - b })
}

func (s spread) with(other spread, f func(a, b float64) float64) spread {
	var out spread
	for i := range min(len(s), len(other)) {
		out = append(out, f(s[i], other[i]))
	}
	return out
}

// String is the median, and the range where there is one.
func (s spread) String() string {
	switch len(s) {
	case 0:
		return ""
	case 1:
		return number(s[0])
	}
	return number(s.median()) + " [" + number(slices.Min(s)) + "-" + number(slices.Max(s)) + "]"
}

// MarshalJSON gives the median and all rounds.
func (s spread) MarshalJSON() ([]byte, error) {
	if len(s) == 0 {
		return []byte("null"), nil
	}
	return json.Marshal(map[string]any{"median": s.median(), "rounds": []float64(s)})
}

// number has about three significant digits.
func number(v float64) string {
	switch a := math.Abs(v); {
	case a >= 100 || v == math.Trunc(v):
		return strconv.FormatFloat(v, 'f', 0, 64)
	case a >= 10:
		return strconv.FormatFloat(v, 'f', 1, 64)
	case a >= 0.1:
		return strconv.FormatFloat(v, 'f', 2, 64)
	}
	return strconv.FormatFloat(v, 'f', 3, 64)
}
