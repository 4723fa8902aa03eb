package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/distribution/reference"
	specs "github.com/opencontainers/image-spec/specs-go/v1"
)

// options is what is asked for.
type options struct {
	Binaries []string // one a platform
	Name     reference.NamedTagged
	Output   string
	SBOM     string // a file that gets the list of contents, too; may be empty
	User     string
	Level    int
	Created  time.Time

	Title, Description, Version, Revision, Source, Licenses string
}

// parse reads the command line. The time is that of the source, as https://reproducible-builds.org/specs/source-date-epoch has it: when the
// programs were built does not matter, and would make each archive another.
func parse(args []string, epoch string, usage io.Writer) (options, error) {
	var o options
	var name string
	flags := flag.NewFlagSet("image", flag.ContinueOnError)
	flags.SetOutput(usage)
	flags.Func("binary", "static Go program for Linux; once for each platform. Its name is that of the file in the image, and the entrypoint", func(path string) error {
		o.Binaries = append(o.Binaries, path)
		return nil
	})
	flags.StringVar(&name, "name", "", "name of the image with its tag, as in localhost/berth:v1")
	flags.StringVar(&o.Output, "output", "", "archive to write")
	flags.StringVar(&o.SBOM, "sbom", "", "file for the list of what is in the programs (SPDX 2.3, JSON), which the archive holds, too")
	flags.StringVar(&o.User, "user", "65532:65532", "user and group that the program runs as")
	flags.IntVar(&o.Level, "level", 6, "how hard to compress, from 1, which is fast, to 9")
	flags.StringVar(&epoch, "created", epoch, "time of the source, in seconds since 1970 (default $SOURCE_DATE_EPOCH, or 0)")
	flags.StringVar(&o.Title, "title", "", "what the program is called (default: the last part of the image's name)")
	flags.StringVar(&o.Description, "description", "", "what the program does")
	flags.StringVar(&o.Version, "version", "", "version of the program (default: the image's tag)")
	flags.StringVar(&o.Revision, "revision", "", "commit that the program was built from")
	flags.StringVar(&o.Source, "source", "", "URL of the source")
	flags.StringVar(&o.Licenses, "licenses", "", "licenses, as an SPDX expression")
	if err := flags.Parse(args); err != nil {
		return options{}, err
	}
	if flags.NArg() > 0 {
		return options{}, fmt.Errorf("unexpected argument %q: programs are given with --binary", flags.Arg(0))
	}
	return o, o.complete(name, epoch)
}

// complete checks what was given and fills in the rest.
func (o *options) complete(name, epoch string) error {
	switch {
	case len(o.Binaries) == 0:
		return errors.New("--binary is missing: the program to put into the image")
	case name == "":
		return errors.New("--name is missing: the image's name, as in localhost/berth:v1")
	case o.Output == "":
		return errors.New("--output is missing: the archive to write")
	}
	named, err := reference.ParseNormalizedNamed(name)
	if err != nil {
		return fmt.Errorf("--name %s: %w", name, err)
	}
	tagged, ok := named.(reference.NamedTagged)
	if _, digested := named.(reference.Digested); !ok || digested {
		return fmt.Errorf("--name %s: it needs a tag and no digest, as in localhost/berth:v1", name)
	}
	o.Name = tagged
	if !numeric(o.User) {
		return fmt.Errorf("--user %s: it has to be UID:GID in numbers. There is no file with names in the image, and runAsNonRoot trusts only numbers", o.User)
	}
	if o.Level < 1 || o.Level > 9 {
		return fmt.Errorf("--level %d: it has to be from 1 to 9", o.Level)
	}
	seconds := int64(0)
	if epoch != "" {
		if seconds, err = strconv.ParseInt(epoch, 10, 64); err != nil || seconds < 0 {
			return fmt.Errorf("--created %s: it has to be seconds since 1970", epoch)
		}
	}
	o.Created = time.Unix(seconds, 0).UTC()
	if o.Title == "" {
		path := reference.Path(tagged)
		o.Title = path[strings.LastIndex(path, "/")+1:]
	}
	if o.Version == "" {
		o.Version = tagged.Tag()
	}
	return nil
}

// numeric: UID:GID, as numbers.
func numeric(user string) bool {
	uid, gid, ok := strings.Cut(user, ":")
	for _, id := range []string{uid, gid} {
		if _, err := strconv.ParseUint(id, 10, 31); err != nil {
			return false
		}
	}
	return ok
}

// annotations are those that the image specification defines in advance (annotations.md), as far as they are known.
func (o *options) annotations() map[string]string {
	all := map[string]string{
		specs.AnnotationCreated:     o.Created.Format(time.RFC3339),
		specs.AnnotationTitle:       o.Title,
		specs.AnnotationDescription: o.Description,
		specs.AnnotationVersion:     o.Version,
		specs.AnnotationRevision:    o.Revision,
		specs.AnnotationSource:      o.Source,
		specs.AnnotationURL:         o.Source,
		specs.AnnotationLicenses:    o.Licenses,
	}
	for key, value := range all {
		if value == "" {
			delete(all, key)
		}
	}
	return all
}
