#!/bin/sh
# An example of a script for external_auth_command: it keeps its users in a plain text file, one `name:password` a line.
#
# The protocol is "generic": one query a line on standard input, one answer a line on standard output.
#
#   auth:USER:HOST:PASSWORD      1 if the password is right, else 0
#   isuser:USER:HOST             1 if there is such a user, else 0
#   setpass:USER:HOST:PASSWORD   1 if the password was changed, else 0
#
# A password may contain colons; user and host never do. The file is $AUTH_USERS, or users.txt beside this script. It is
# an example: real user tables do not hold passwords in clear.

table=${AUTH_USERS:-$(dirname "$0")/users.txt}
umask 077

# lookup NAME: sets $stored to the name's password; fails when there is no such name.
lookup() {
	while IFS= read -r entry || [ -n "$entry" ]; do
		if [ "${entry%%:*}" = "$1" ]; then
			stored=${entry#*:}
			return 0
		fi
	done <"$table"
	return 1
}

# change NAME PASSWORD: writes a new table and puts it in the place of the old one in one step, so that nobody ever reads
# half of it.
change() {
	lookup "$1" || return 1
	new=$table.$$
	while IFS= read -r entry || [ -n "$entry" ]; do
		if [ "${entry%%:*}" = "$1" ]; then
			entry=$1:$2
		fi
		printf '%s\n' "$entry"
	done <"$table" >"$new" && mv "$new" "$table"
}

while IFS= read -r query; do
	command=${query%%:*}
	rest=${query#*:}
	user=${rest%%:*}
	rest=${rest#*:} # HOST, or HOST:PASSWORD
	password=${rest#*:}
	answer=0
	case $command in
	auth) if lookup "$user" && [ "$stored" = "$password" ]; then answer=1; fi ;;
	isuser) if lookup "$user"; then answer=1; fi ;;
	setpass) if change "$user" "$password"; then answer=1; fi ;;
	esac
	echo "$answer"
done
