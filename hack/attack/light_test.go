//go:build integration && !heavy

package attack

// heavy attacks take a minute or more: `make attack` makes them.
const heavy = false
