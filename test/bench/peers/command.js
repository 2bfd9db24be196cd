// The command line that the peers share: PROGRAM prepare | drain {"jobs": n} | drain {"seconds": n} | …
'use strict';

module.exports = async function command(actions) {
  const [name, argument] = process.argv.slice(2);
  await actions[name](argument && JSON.parse(argument));
};
