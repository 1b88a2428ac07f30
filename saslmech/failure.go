package saslmech

// Condition is the name of a SASL failure condition as it stands in XML
// (RFC 6120 §6.5).
type Condition string

// All the conditions of RFC 6120 §6.5. This package itself returns only
// incorrect-encoding, invalid-authzid, invalid-mechanism and malformed-request.
const (
	Aborted              Condition = "aborted"
	AccountDisabled      Condition = "account-disabled"
	CredentialsExpired   Condition = "credentials-expired"
	EncryptionRequired   Condition = "encryption-required"
	IncorrectEncoding    Condition = "incorrect-encoding"
	InvalidAuthzid       Condition = "invalid-authzid"
	InvalidMechanism     Condition = "invalid-mechanism"
	MalformedRequest     Condition = "malformed-request"
	MechanismTooWeak     Condition = "mechanism-too-weak"
	NotAuthorized        Condition = "not-authorized"
	TemporaryAuthFailure Condition = "temporary-auth-failure"
)

// A Failure says that an exchange ended without credentials, or that they were
// refused. It has two faces: Condition and Text may be shown to the client,
// Cause is for the log. Neither ever holds a secret.
type Failure struct {
	// Condition is sent to the client.
	Condition Condition
	// Cause is why, for the log; it may be nil.
	Cause error
	// Text is the human-readable part of <failure/>; empty means none.
	Text string
}

// Error returns the condition and the cause.
func (f *Failure) Error() string {
	if f.Cause == nil {
		return string(f.Condition)
	}
	return string(f.Condition) + ": " + f.Cause.Error()
}

// Unwrap returns the cause.
func (f *Failure) Unwrap() error { return f.Cause }
