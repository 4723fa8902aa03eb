package datasource

// Decision is the answer to "may a volume be made from this?".
type Decision int

// The zero Decision is Unknown: an answer that nobody gave allows nothing and refuses nobody.
const (
	Unknown Decision = iota // not yet, or it could not be found out; waiting may help
	Allow
	Deny // only an edit helps: of the claim (made anew), of its source, of a right or a setting
)

// String is the form of log lines.
func (d Decision) String() string {
	switch d {
	case Unknown:
		return "unknown"
	case Allow:
		return "allow"
	case Deny:
		return "deny"
	}
	return "invalid"
}

// Verdict is a Decision and, unless it is Allow, why. The message tells what is wrong, where, and what to do about it.
type Verdict struct {
	Decision Decision
	Reason   string // one of the Reason constants
	Message  string
}

func allow() Verdict { return Verdict{Decision: Allow} }

func deny(reason, message string) Verdict { return Verdict{Deny, reason, message} }

func unknown(reason, message string) Verdict { return Verdict{Unknown, reason, message} }
