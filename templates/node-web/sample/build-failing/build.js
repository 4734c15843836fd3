throw new Error('the template of the page is missing');
