// Package authapi lets other servers ask who may come in, over HTTP, in the shape that Prosody's mod_auth_http, ejabberd's
// ejabberd_auth_http and MongooseIM's http method share:
//
//	GET  /auth/check_password?user=&server=&pass=
//	GET  /auth/user_exists?user=&server=
//	POST /auth/set_password    user=&server=&pass=
//	POST /auth/register        user=&server=&pass=
//	POST /auth/remove_user     user=&server=[&pass=]
//
// The fields of a POST are application/x-www-form-urlencoded in the body. Every question has one of three answers: 200 with
// the body "true" or "false", exactly, and 503 with a sentence when nobody can say. A question that is not understood is 400,
// which is no verdict either. Those who ask are programs: what a browser posts for a page of another site is 403.
//
// Names and passwords are prepared as at a login ([saslmech.SASLprep], [saslmech.Nodeprep]), so that the [Judge] sees the
// same bytes whichever way somebody comes; what they refuse is "false" unasked, since it can be nobody's.
//
// [Handler] is the API for whoever has the credentials of an [Access], [NewServer] a server for it on a socket of its own.
// Nothing of a query string, a body or a header gets into logs or answers but the names of user and host, in the log.
// Slowing down those who guess is not done here.
//
// The package starts no goroutine of its own, and does not listen.
package authapi
