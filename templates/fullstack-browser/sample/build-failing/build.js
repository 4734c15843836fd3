throw new Error('the page is missing');
