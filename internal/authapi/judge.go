package authapi

import "context"

// Judge knows who may come in. Every question has three outcomes: yes (true, nil), no (false, nil) and cannot say (false,
// error). A host that is not ours is the last: that is a mistake in somebody's config, and no user's. A question that can be
// put to nobody because of what is in it is a no. Names and passwords are prepared and not empty.
//
// A question ends when its context does, at the latest 30 seconds after it came. Errors are logged; they must hold no secret.
type Judge interface {
	// CheckPassword says whether password is the user's: one that he knows, or a ticket.
	CheckPassword(ctx context.Context, user, host, password string) (bool, error)
	UserExists(ctx context.Context, user, host string) (bool, error)
	SetPassword(ctx context.Context, user, host, password string) (bool, error)
	// Register makes a user; a no is one that exists, or is not wanted (ejabberd's tryregister).
	Register(ctx context.Context, user, host, password string) (bool, error)
	// RemoveUser removes a user: with an empty password in any case (removeuser), with another one if it is the user's
	// (removeuser3).
	RemoveUser(ctx context.Context, user, host, password string) (bool, error)
}

// operation is one of the five.
type operation struct {
	method        string
	needsPassword bool
	ask           func(ctx context.Context, j Judge, q question) (bool, error)
}

// operations by the name that the last part of a path is.
var operations = map[string]operation{
	"check_password": {"GET", true, func(ctx context.Context, j Judge, q question) (bool, error) {
		return j.CheckPassword(ctx, q.user, q.host, q.password)
	}},
	"user_exists": {"GET", false, func(ctx context.Context, j Judge, q question) (bool, error) {
		return j.UserExists(ctx, q.user, q.host)
	}},
	"set_password": {"POST", true, func(ctx context.Context, j Judge, q question) (bool, error) {
		return j.SetPassword(ctx, q.user, q.host, q.password)
	}},
	"register": {"POST", true, func(ctx context.Context, j Judge, q question) (bool, error) {
		return j.Register(ctx, q.user, q.host, q.password)
	}},
	"remove_user": {"POST", false, func(ctx context.Context, j Judge, q question) (bool, error) {
		return j.RemoveUser(ctx, q.user, q.host, q.password)
	}},
}
