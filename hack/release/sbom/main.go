// Command sbom writes which modules, with which licences, are in the programs of a
// release, as CycloneDX in JSON. What is in a program, the program itself says: Go's
// linker wrote it.
//
//	sbom -name wechat-token-operator -version v1.2.3 -o FILE PROGRAM...
//
// The same programs give the same bytes. It runs in the folder of the operator's
// module, once its programs are compiled: the modules are then in Go's cache.
package main

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	cdx "github.com/CycloneDX/cyclonedx-go"
	"github.com/CycloneDX/cyclonedx-gomod/pkg/generate/bin"
	"github.com/google/licensecheck"
	"github.com/google/uuid"
	"github.com/rs/zerolog"
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
	folders, err := modules()
	if err != nil {
		return err
	}
	whole := cdx.Component{BOMRef: name, Type: cdx.ComponentTypeApplication, Name: name, Version: version}
	parts := cdx.Dependency{Ref: name, Dependencies: &[]string{}}
	components, dependencies := map[string]cdx.Component{}, map[string]cdx.Dependency{}
	sums := sha256.New()
	for _, file := range programs {
		program, needs, modules, err := read(file, version, folders)
		if err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		sums.Write([]byte((*program.Hashes)[0].Value))
		*parts.Dependencies = append(*parts.Dependencies, program.BOMRef)
		components[program.BOMRef], dependencies[program.BOMRef] = program, needs
		for _, m := range modules {
			components[m.BOMRef] = m
		}
	}

	bom := cdx.NewBOM()
	bom.SerialNumber = uuid.NewSHA1(uuid.NameSpaceURL, sums.Sum(nil)).URN()
	bom.Metadata = &cdx.Metadata{Timestamp: time.Unix(seconds, 0).UTC().Format(time.RFC3339), Component: &whole}
	bom.Components = sorted(components, func(c cdx.Component) string { return c.BOMRef })
	all := sorted(dependencies, func(d cdx.Dependency) string { return d.Ref })
	*all = slices.Insert(*all, 0, parts)
	bom.Dependencies = all
	f, err := os.Create(out)
	if err != nil {
		return err
	}
	return errors.Join(cdx.NewBOMEncoder(f, cdx.BOMFileFormatJSON).SetPretty(true).Encode(bom), f.Close())
}

// read returns a program, what it needs, and the modules in it.
func read(file, version string, folders map[string]string) (program cdx.Component, needs cdx.Dependency, modules []cdx.Component, err error) {
	info, err := buildinfo.ReadFile(file)
	if err != nil {
		return program, needs, nil, err
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return program, needs, nil, err
	}
	generator, err := bin.NewGenerator(file, bin.WithLogger(zerolog.Nop()), bin.WithVersionOverride(version), bin.WithIncludeStdlib(true), bin.WithShortPURLS(true))
	if err != nil {
		return program, needs, nil, err
	}
	bom, err := generator.Generate()
	if err != nil {
		return program, needs, nil, err
	}

	settings := map[string]string{}
	for _, s := range info.Settings {
		settings[s.Key] = s.Value
	}
	sum := sha256.Sum256(data)
	program = *bom.Metadata.Component
	program.Name = filepath.Base(info.Path)
	program.PackageURL += fmt.Sprintf("?goarch=%s&goos=%s#%s", settings["GOARCH"], settings["GOOS"], strings.TrimPrefix(info.Path, info.Main.Path+"/"))
	program.BOMRef = program.PackageURL
	program.Hashes = &[]cdx.Hash{{Algorithm: cdx.HashAlgoSHA256, Value: hex.EncodeToString(sum[:])}}
	program.Licenses = &cdx.Licenses{{License: &cdx.License{ID: "Apache-2.0"}}}
	needs = cdx.Dependency{Ref: program.BOMRef, Dependencies: &[]string{}}
	for _, m := range *bom.Components {
		if m.Licenses, err = licencesIn(folders[m.Name+"@"+m.Version]); err != nil {
			return program, needs, nil, fmt.Errorf("%s %s: %w", m.Name, m.Version, err)
		}
		*needs.Dependencies = append(*needs.Dependencies, m.BOMRef)
		modules = append(modules, m)
	}
	return program, needs, modules, nil
}

// modules returns where the modules of the operator's go.mod and Go's own library are.
func modules() (map[string]string, error) {
	// Not by the generator's own way, which asks the network for each, the operator's
	// module included.
	format := "{{with .Replace}}{{.Path}}@{{.Version}} {{.Dir}}{{else}}{{.Path}}@{{.Version}} {{.Dir}}{{end}}"
	said, err := exec.Command("go", "list", "-m", "-f", format, "all").Output()
	if err != nil {
		return nil, fmt.Errorf("go list -m all: %w", err)
	}
	root, err := exec.Command("go", "env", "GOVERSION", "GOROOT").Output()
	if err != nil {
		return nil, fmt.Errorf("go env: %w", err)
	}
	said = fmt.Appendf(said, "std@%s", bytes.ReplaceAll(root, []byte("\n"), []byte(" ")))
	folders := map[string]string{}
	for line := range strings.Lines(string(said)) {
		name, dir, _ := strings.Cut(strings.TrimSpace(line), " ")
		folders[name] = dir
	}
	return folders, nil
}

// enough is how much of a file, in percent, has to be the text of licences: as for
// pkg.go.dev.
const enough = 75

// licencesIn returns those that the files in a module's root are, each once.
// licensecheck finds them as pkg.go.dev does. The finder of cyclonedx-gomod leaves some
// of our modules without one, and gives others a licence that they do not have.
func licencesIn(dir string) (*cdx.Licenses, error) {
	if dir == "" {
		return nil, errors.New("it is not in Go's cache: compile the program first, and run this in its folder")
	}
	files, err := filepath.Glob(filepath.Join(dir, "[LC][IO][CP]*")) // LICENSE, LICENSE.txt, COPYING
	if err != nil {
		return nil, err
	}
	ids := map[string]cdx.LicenseChoice{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		found := licensecheck.Scan(text)
		for _, m := range found.Match {
			if found.Percent >= enough {
				ids[m.ID] = cdx.LicenseChoice{License: &cdx.License{ID: m.ID}}
			}
		}
	}
	if len(ids) == 0 {
		return nil, fmt.Errorf("none of its files %q is a licence that is known", files)
	}
	all := cdx.Licenses(*sorted(ids, func(c cdx.LicenseChoice) string { return c.License.ID }))
	return &all, nil
}

func sorted[T any](all map[string]T, key func(T) string) *[]T {
	var list []T
	for _, v := range all {
		list = append(list, v)
	}
	slices.SortFunc(list, func(a, b T) int { return cmp.Compare(key(a), key(b)) })
	return &list
}
