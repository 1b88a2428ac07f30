package xmlstream

// Error is a violation that ends the stream. Condition is the name of the
// stream error that RFC 6120 §4.9.3 has for it; Detail is for the log and
// safe for the other side: it never repeats what was sent.
type Error struct {
	Condition string
	// TooBig is set where a size limit was the reason (Condition is then
	// policy-violation); XEP-0205's application condition stanza-too-big
	// goes with it.
	TooBig bool
	Detail string
}

func (e *Error) Error() string { return e.Condition + ": " + e.Detail }

func notWellFormed(detail string) *Error {
	return &Error{Condition: "not-well-formed", Detail: detail}
}

func restricted(detail string) *Error {
	return &Error{Condition: "restricted-xml", Detail: detail}
}

func tooBig(detail string) *Error {
	return &Error{Condition: "policy-violation", TooBig: true, Detail: detail}
}
