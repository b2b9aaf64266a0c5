// Package account is who shops here. It owns the table account.
//
// # Passwords
//
// Passwords are hashed with argon2id by the parameters that OWASP gives as a
// minimum. A log-in hashes anew, for the next one, what was hashed by weaker
// ones.
//
// A password is hashed in its composed form (NFC, as NIST SP 800-63B-4 says in
// section 3.1.1.2), since keyboards differ in how they write an accent. NFKC,
// which the revision before allowed, would make different passwords one, such
// as those with ² and 2. A password that was hashed as it was typed is still
// taken, and hashed in its composed form then.
//
// A new password is refused where it is one of those that are guessed first
// ([CheckPassword]): the limits of log-ins leave an attacker some guesses an
// hour for an address, and all addresses together many. There are no other
// rules about what is in it.
//
// # Nobody is told who has an account
//
// An unknown address costs as much as a wrong password and is answered with the
// same words. A refused log-in hashes as many times as there are forms of the
// address and of the password to try, whatever is stored; that is one, but for
// addresses and passwords outside ASCII. What remains is the difference between
// a hash of today and one by weaker parameters, until its owner has logged in.
//
// Registration is a log-in where the address has an account:
//
//   - With the account's password, the customer is logged in. Who has forgotten
//     the account, or lost the answer to the first attempt, is where they wanted
//     to be.
//   - With another one, the refusal is that of a wrong log-in, in words, status
//     and hashes, and it counts as one: for the address, the e-mail address and
//     the client.
//   - Otherwise an account is made.
//
// So the address is no longer named as taken, and asking is as dear as guessing
// a password. It does not hide everything: a stranger who is refused learns
// that the address has an account, since a free one would have been accepted.
// No answer can hide that from whoever is logged in at once. OWASP's way is to
// answer that a mail is on its way, in either case, and this shop can't send
// one yet; django-allauth's way without mail is to let several accounts have
// one address, and to tell them apart is then everybody's trouble at each
// log-in. Until there is mail, a probe is at least neither silent nor cheap:
// one of an address with an account counts as a wrong log-in, and one of a free
// address occupies it with an account that its owner will find. Both count
// against the limit of new accounts.
//
// Nobody gets in by a password that was changed while it was compared: package
// app looks at [Account].PasswordID again once the session can be ended.
//
// What is missing without mail: a password that was forgotten can't be set
// anew, and an address can't be confirmed.
//
// Nobody has proved that an address is theirs, so an account's address decides
// nothing for anybody but those who log in with it.
//
// # Forms of an address
//
// Package app brings an address into one form. Releases before that stored what
// was typed in lower case, so both forms are looked for ([Login]), and both are
// tried where both have accounts.
//
// # The budget
//
// A hash takes 19 MiB and 20 ms of a processor, so hashes have a budget
// ([Config]): a quarter of this process's processors, and one hash at a time
// where that is less than one. Others wait within their context's deadline:
// known callers before strangers, and all in turns by where they come from
// ([Caller]). Where the queue is full, a caller who has fewer places than others
// takes the last place of the one who has most, so nobody can use the budget up:
// a caller who waits alone is refused only where as many others wait as the queue
// is long, each from an address of its own, or where its turn would come after
// its deadline.
package account
