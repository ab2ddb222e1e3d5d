// Command sbom writes which modules are in the programs of a release, as SPDX 2.3
// in JSON. What is in a program, the program itself says: Go's linker wrote it.
//
//	sbom -name wechat-token-operator -version v1.2.3 -o FILE PROGRAM...
//
// The same programs give the same bytes.
package main

import (
	"bytes"
	"crypto/sha256"
	"debug/buildinfo"
	"errors"
	"flag"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spdx/tools-golang/json"
	"github.com/spdx/tools-golang/spdx"
	"github.com/spdx/tools-golang/spdx/v2/common"
	"github.com/spdx/tools-golang/spdxlib"
)

func main() {
	name := flag.String("name", "", "what holds the programs")
	version := flag.String("version", "", "the release's `version`")
	out := flag.String("o", "", "`file` to write")
	flag.Parse()
	if err := run(*name, *version, *out, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "sbom:", err)
		os.Exit(1)
	}
}

func run(name, version, out string, programs []string) error {
	seconds, err := strconv.ParseInt(os.Getenv("SOURCE_DATE_EPOCH"), 10, 64)
	if err != nil {
		return fmt.Errorf("SOURCE_DATE_EPOCH has to be a number of seconds: %w", err)
	}
	if name == "" || version == "" || out == "" || len(programs) == 0 {
		return errors.New("-name, -version, -o and programs have to be given")
	}
	l := list{name: name, version: version, seen: map[common.ElementID]bool{}}
	for _, p := range programs {
		if err := l.program(p); err != nil {
			return fmt.Errorf("%s: %w", p, err)
		}
	}
	d := l.document(time.Unix(seconds, 0).UTC())
	if err := spdxlib.ValidateDocument(d); err != nil {
		return err
	}
	var b bytes.Buffer
	if err := json.Write(d, &b, json.Indent("  ")); err != nil {
		return err
	}
	return os.WriteFile(out, b.Bytes(), 0o644)
}

const unknown = "NOASSERTION"

// list is what was found in the programs so far.
type list struct {
	name, version string
	packages      []*spdx.Package
	relationships []*spdx.Relationship
	seen          map[common.ElementID]bool
	all           []byte // a hash of all programs
}

// program adds a program and the modules in it.
func (l *list) program(file string) error {
	info, err := buildinfo.ReadFile(file)
	if err != nil {
		return err
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(data)
	all := sha256.Sum256(append(l.all, sum[:]...))
	l.all = all[:]

	goos, arch := setting(info, "GOOS"), setting(info, "GOARCH")
	name := path.Base(info.Path)
	program := &spdx.Package{
		PackageName:             name,
		PackageSPDXIdentifier:   id("Program", name, goos, arch),
		PackageVersion:          l.version,
		PackageFileName:         filepath.Base(file),
		PackageDownloadLocation: unknown,
		PackageChecksums:        []common.Checksum{{Algorithm: common.SHA256, Value: fmt.Sprintf("%x", sum)}},
		PackageComment:          "for " + goos + "/" + arch,
		PackageLicenseConcluded: unknown,
		PackageLicenseDeclared:  "Apache-2.0",
		PackageCopyrightText:    unknown,
		PrimaryPackagePurpose:   "APPLICATION",
		PackageExternalReferences: purl(fmt.Sprintf("pkg:golang/%s@%s?goos=%s&goarch=%s#%s",
			info.Main.Path, l.version, goos, arch, strings.TrimPrefix(info.Path, info.Main.Path+"/"))),
	}
	l.packages = append(l.packages, program)
	l.relate("DOCUMENT", "DESCRIBES", program)

	for _, m := range info.Deps {
		if m.Replace != nil {
			m = m.Replace
		}
		l.relate(program.PackageSPDXIdentifier, "DEPENDS_ON", l.module(m.Path, m.Version, m.Sum))
	}
	l.relate(program.PackageSPDXIdentifier, "DEPENDS_ON", l.module("stdlib", strings.TrimPrefix(info.GoVersion, "go"), ""))
	return nil
}

// module adds a module, once.
func (l *list) module(name, version, sum string) *spdx.Package {
	p := &spdx.Package{
		PackageName:               name,
		PackageSPDXIdentifier:     id("Module", name, version),
		PackageVersion:            version,
		PackageDownloadLocation:   unknown,
		PackageLicenseConcluded:   unknown,
		PackageLicenseDeclared:    unknown,
		PackageCopyrightText:      unknown,
		PrimaryPackagePurpose:     "LIBRARY",
		PackageExternalReferences: purl("pkg:golang/" + name + "@" + version),
	}
	if sum != "" {
		p.PackageSourceInfo = "go.sum has " + sum
	}
	if !l.seen[p.PackageSPDXIdentifier] {
		l.seen[p.PackageSPDXIdentifier] = true
		l.packages = append(l.packages, p)
	}
	return p
}

func (l *list) relate(a common.ElementID, how string, b *spdx.Package) {
	l.relationships = append(l.relationships, &spdx.Relationship{
		RefA: common.DocElementID{ElementRefID: a}, Relationship: how, RefB: common.DocElementID{ElementRefID: b.PackageSPDXIdentifier},
	})
}

func (l *list) document(at time.Time) *spdx.Document {
	slices.SortStableFunc(l.packages, func(a, b *spdx.Package) int {
		return strings.Compare(string(a.PackageSPDXIdentifier), string(b.PackageSPDXIdentifier))
	})
	return &spdx.Document{
		SPDXVersion:    spdx.Version,
		DataLicense:    spdx.DataLicense,
		SPDXIdentifier: "DOCUMENT",
		DocumentName:   l.name + " " + l.version,
		// A name that nothing else has, and no address.
		DocumentNamespace: fmt.Sprintf("https://wechattoken.io/operator/spdx/%s-%x", l.version, l.all[:16]),
		CreationInfo: &spdx.CreationInfo{
			Creators: []common.Creator{{CreatorType: "Tool", Creator: "wechat-token-operator/hack/release/sbom"}},
			Created:  at.Format(time.RFC3339),
		},
		Packages:      l.packages,
		Relationships: l.relationships,
	}
}

func setting(info *buildinfo.BuildInfo, key string) string {
	for _, s := range info.Settings {
		if s.Key == key {
			return s.Value
		}
	}
	return ""
}

func purl(locator string) []*spdx.PackageExternalReference {
	return []*spdx.PackageExternalReference{{Category: "PACKAGE-MANAGER", RefType: "purl", Locator: locator}}
}

// notInID is what an SPDX identifier cannot hold.
var notInID = regexp.MustCompile(`[^A-Za-z0-9.-]+`)

func id(parts ...string) common.ElementID {
	return common.ElementID(notInID.ReplaceAllString(strings.Join(parts, "-"), "-"))
}
